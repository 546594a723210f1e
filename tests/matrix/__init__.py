"""The fault matrix: which suite catches which planted fault. `make matrix SUITES=t01,t03`."""
