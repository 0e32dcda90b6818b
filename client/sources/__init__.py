"""Where cases come from: lists of files, folders, NPZ arrays, phantoms that the program draws, a public download."""
