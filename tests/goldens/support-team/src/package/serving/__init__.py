"""What answers requests: the model and its batch, and OpenAI's protocol over it."""
