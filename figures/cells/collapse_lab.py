from moedocs.lite import learning

# Change anything, then Run: the figure above draws what is in `table`.
rule = "auxiliary"  # or z, bias, constant, expert-choice
weight = 0.1  # of the loss; for bias, its update rate
top_k, seeds, learning_rate = 1, (0, 1, 2), 0.01

# A router and eight experts of one matrix each learn eight kinds of
# token, 300 steps from each seed: first alone, then under the rule.
table = []
for name in ("none", rule):
    config = learning.config_of(name, weight, top_k)
    for seed in seeds:
        learned = learning.train(config, seed=seed, learning_rate=learning_rate)
        rows = learned.rows(rule=name, weight=weight, top_k=top_k, seed=seed)
        table += [row | {"left": "none", "right": rule} for row in rows]
        end = rows[-1]
        print(
            f"{name:14} seed {seed}: busiest {learned.share_SE[-1].max():.0%},",
            f"{end['dead']} without a token, error {end['validation_loss']:.3f}",
        )
