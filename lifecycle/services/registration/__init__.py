"""Files become a voice, a version of one, or additions to one."""
