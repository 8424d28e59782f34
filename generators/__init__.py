"""What writes files of this repository: the sample events, the event schemas, the API's reference."""
