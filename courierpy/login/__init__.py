"""Before the login, whatever the protocol: who may try how often, and the way to the account."""
