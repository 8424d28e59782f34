"""The domain shared by every function: Twilio call recordings, and how their truth is kept."""
