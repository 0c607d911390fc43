"""The peers that we are measured against, as processes of the bench."""
