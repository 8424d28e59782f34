"""A Twilio that runs on loopback: live calls, recordings, and signed callbacks that can misbehave."""
