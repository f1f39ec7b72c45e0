"""One function per stage of a study: files in, files out. The command line and the workflow call these."""
