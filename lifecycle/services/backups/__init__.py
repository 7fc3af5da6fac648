"""Second copies: made while others write, checked, put back, thinned out."""
