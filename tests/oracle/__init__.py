"""Oracle: a fleet whose every token and joule is known, against which valid figures are held."""
