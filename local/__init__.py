"""The whole application on one machine, without Docker or an AWS account."""
