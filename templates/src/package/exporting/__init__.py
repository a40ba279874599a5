"""What export puts together: the model's weights, its chat template and its card."""
