"""An MTA asks whether a recipient gets mail, before it takes the message: socketmap and Postfix's policy."""
