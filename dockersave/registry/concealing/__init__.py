"""What is removed from all output: secrets, however they are encoded."""
