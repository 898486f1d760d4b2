"""What a prompt is worth: judges, safety gates and the refusal-probability ELBO."""
