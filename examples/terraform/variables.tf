variable "stack_name" {
  description = "Name of the CloudFormation stack."
  type        = string
  default     = "call-recording"
}

variable "artifacts_bucket" {
  description = "The bucket that `sam package` put the code into, in this Region; the template goes there too."
  type        = string
}

variable "packaged_template" {
  description = "Path of the template that `sam package` wrote."
  type        = string
}

variable "twilio_account_sid" {
  description = "Parameter TwilioAccountSid."
  type        = string

  validation {
    condition     = can(regex("^AC[0-9a-fA-F]{32}$", var.twilio_account_sid))
    error_message = "Must be a Twilio Account SID, AC and 32 hexadecimal digits."
  }
}

# Each of these is a parameter of the template, and null leaves it at the template's default.

variable "event_bus_name" {
  description = "Parameter EventBusName."
  type        = string
  default     = null
}

variable "control_api_allowed_cidrs" {
  description = "Parameter ControlApiAllowedCidrs."
  type        = string
  default     = null
}

variable "page_topic_arn" {
  description = "Parameter PageTopicArn."
  type        = string
  default     = null
}

variable "ticket_topic_arn" {
  description = "Parameter TicketTopicArn."
  type        = string
  default     = null
}

variable "archive_recordings" {
  description = "Parameter ArchiveRecordings."
  type        = bool
  default     = null
}

variable "archive_retention_days" {
  description = "Parameter ArchiveRetentionDays."
  type        = number
  default     = null
}

variable "archive_kms_key_arn" {
  description = "Parameter ArchiveKmsKeyArn."
  type        = string
  default     = null
}

variable "kms_key_arn" {
  description = "Parameter KmsKeyArn."
  type        = string
  default     = null
}

variable "delete_at_twilio_after_archiving" {
  description = "Parameter DeleteAtTwilioAfterArchiving."
  type        = bool
  default     = null
}

variable "row_retention_days" {
  description = "Parameter RowRetentionDays."
  type        = number
  default     = null
}

variable "other_parameters" {
  description = "All other parameters, under their names in the template, as CloudFormation writes them."
  type        = map(string)
  default     = {}
}
