"""The command line of forensics: parse, call one library function, emit."""
