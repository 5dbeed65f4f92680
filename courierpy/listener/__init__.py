"""The parts of couriertcpd: access rules, PROXY headers, DNS lists, pid files."""
