"""English front end: normalisation, pronunciation and pauses in festival's phone set."""
