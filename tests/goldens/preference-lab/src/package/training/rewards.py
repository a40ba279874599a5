"""What a training on pairs logs of its rewards, for the report to draw."""

CURVES = (
    ("Accuracy of rewards", ("rewards/accuracies", "eval_rewards/accuracies")),
    ("Margin of rewards", ("rewards/margins", "eval_rewards/margins")),
)
