"""What `yammap bench` runs: a file a scenario; those that begin with _ are shared."""
