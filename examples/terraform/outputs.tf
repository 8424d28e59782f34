output "control_api_url" {
  description = "Base URL of the API for callers."
  value       = aws_cloudformation_stack.call_recording.outputs["ControlApiUrl"]
}

output "control_api_id" {
  description = "Its id, for permissions."
  value       = aws_cloudformation_stack.call_recording.outputs["ControlApiId"]
}

output "webhook_url" {
  description = "Where Twilio sends recording status callbacks."
  value       = aws_cloudformation_stack.call_recording.outputs["WebhookUrl"]
}

output "event_bus_name" {
  description = "The bus that requests arrive on and changes are published to."
  value       = aws_cloudformation_stack.call_recording.outputs["EventBusName"]
}

output "archive_bucket_name" {
  description = "The bucket that audio is kept in."
  value       = aws_cloudformation_stack.call_recording.outputs["ArchiveBucketName"]
}

output "recordings_table_name" {
  description = "The table with one row for each recording."
  value       = aws_cloudformation_stack.call_recording.outputs["RecordingsTableName"]
}
