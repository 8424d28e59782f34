# What the stack is given: what is set, as CloudFormation writes it. What is not set has the template's own default.
locals {
  typed = {
    TwilioAccountSid             = var.twilio_account_sid
    EventBusName                 = var.event_bus_name
    ControlApiAllowedCidrs       = var.control_api_allowed_cidrs
    PageTopicArn                 = var.page_topic_arn
    TicketTopicArn               = var.ticket_topic_arn
    ArchiveRecordings            = var.archive_recordings
    ArchiveRetentionDays         = var.archive_retention_days
    ArchiveKmsKeyArn             = var.archive_kms_key_arn
    KmsKeyArn                    = var.kms_key_arn
    DeleteAtTwilioAfterArchiving = var.delete_at_twilio_after_archiving
    RowRetentionDays             = var.row_retention_days
  }

  parameters = merge(var.other_parameters, {
    for name, value in local.typed : name => tostring(value) if value != null
  })
}
