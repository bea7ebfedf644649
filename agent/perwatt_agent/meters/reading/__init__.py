"""How a number is read that is kept elsewhere: services, files, credentials, units."""
