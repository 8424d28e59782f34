# CloudFormation reads a template as large as this one from S3 alone. Each version has a key of its own, so that a changed
# template is a changed stack.
resource "aws_s3_object" "template" {
  bucket = var.artifacts_bucket
  key    = "call-recording/${filemd5(var.packaged_template)}.yaml"
  source = var.packaged_template
}

resource "aws_cloudformation_stack" "call_recording" {
  name         = var.stack_name
  template_url = "https://${data.aws_s3_bucket.artifacts.bucket_regional_domain_name}/${aws_s3_object.template.key}"
  parameters   = local.parameters
  # It makes roles, and SAM's macro expands it.
  capabilities = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]

  lifecycle {
    # Whoever destroys it loses what keeps rows true. The tables and buckets stay; the webhook's address does not come back.
    prevent_destroy = true
  }
}

data "aws_s3_bucket" "artifacts" {
  bucket = var.artifacts_bucket
}
