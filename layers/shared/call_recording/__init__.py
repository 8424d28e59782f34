"""The domain code that all functions share: Twilio call recordings, and how this stack keeps track of them."""
