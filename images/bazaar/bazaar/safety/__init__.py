"""What keeps data where it belongs: personal data, access lists, the audit chain."""
