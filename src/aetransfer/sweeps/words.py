"""How the report's numbers are made, in the sentences that stand below them."""

HOW = [
    "Every number is of the test split, measured once, at the epoch that was best on the validation split.",
    "The tables' 95 % intervals are percentile bootstraps over seeds (stratified by setting where several are pooled), "
    "from 3 seeds on; IQM is the interquartile mean, which with fewer than 4 values is the mean.",
    "Differences are paired by seed within equal other settings. An arm helps or hurts where the paired t interval "
    "leaves 0 out; a bootstrap is not asked, since at 3 to 5 seeds it covers far less than 95 %.",
    "P(better) is the share of seeds in which the arm beats its control, ties counting half. Where a lower value is "
    "better, an arm helps by a difference below 0.",
    "The seeds that would settle a comparison give a paired t test 80 % power, if the true effect is the one observed; "
    "from so few seeds that is a rough guess.",
    "Transfer ratio: mean of the arm over that of its control, on the same seeds; above 1 the arm is better; where a "
    "lower value is better, below 1.",
    "Label savings: labels that the control needs to be as good as the arm, over the labels the arm had. The control's "
    "curve is taken as linear in log(labels) between its points.",
    "Promised and reached: rank correlation over an arm's runs of transferability scores (evaluation=transferability, "
    "on training images) with how good the test metric is. Runs whose settings change both the scores and the task are "
    "not apart.",
    "Epochs to 95 % of scratch: the median first epoch whose validation metric is 95 % or more of what training from "
    "scratch has after its last epoch; where a lower value is better, at most that over 0.95.",
]
