//! The command line, by running the program: what it prints, and its exit code.
