"""What can never be meant: by the kind of each key, which values are wrong whatever else a config says."""

# Real command lines; each is valid as it stands, which the test sees for itself first.
BASES = (
    (),
    ("experiment=quickstart", "transfer=finetune"),
    ("experiment=mnist_to_cifar10", "transfer=frozen", "seed=3"),
    ("data=photo_digits", "data@pretrain.data=digits", "transfer=linear_probe", "trainer.max_epochs=2"),
    ("data=cifar100", "transfer=scratch", "data.labels_per_class=20", "logger=csv"),
    ("data=fashion_mnist", "data.pad=2", "pretrain=vae", "transfer=gradual", "trainer=cpu"),
    ("-m", "experiment=quickstart", "transfer=scratch,frozen", "seed=0,1"),
)
# A key's kind says which values can never be meant. Keys that both stages have stand for pretrain.KEY as well.
COUNTS = (
    *("seed", "data.batch_size", "data.pad", "data.image_size", "data.workers", "encoder.latent_dim"),
    *("trainer.max_epochs", "trainer.log_every_n_steps", "trainer.num_nodes", "trainer.accumulate_grad_batches"),
    *("pretrain.data.batch_size", "pretrain.data.pad", "pretrain.trainer.max_epochs", "pretrain.seed"),
)
NUMBERS = ("optimizer.lr", "optimizer.weight_decay", "data.val_fraction", "pretrain.optimizer.lr")
SWITCHES = ("rerun", "encoder.batch_norm", "trainer.compile", "trainer.progress", "trainer.detect_anomaly")
LISTS = ("encoder.widths", "head.hidden", "encoder.hidden")
WORDS = (
    *("optimizer.name", "optimizer.schedule", "encoder.init", "transfer.weights", "transfer.channels"),
    *("trainer.precision", "trainer.accelerator", "trainer.strategy", "reuse", "pretrain.optimizer.name"),
)
GROUPS = ("callbacks", "data.augment", "data", "encoder", "model", "model.optimizer", "trainer", "paths", "transfer")
POSITIVE = (*(key for key in COUNTS if not key.endswith(("seed", "pad"))), "optimizer.lr")

NOT_A_COUNT = ("abc", "[1]", "{a: 1}", "1.5", "true", "nan", "inf", "-1", "1e-3", "'1 000'", "😀", "²", "0x1g")
NOT_A_NUMBER = ("abc", "[1]", "{a: 1}", "true", "nan", "inf", "-inf", "-0.5", "'1,5'", "½")
NOT_A_SWITCH = ("maybe", "[true]", "2", "null", "1.5", "{a: true}", "'tru'")
NOT_A_LIST = ("abc", "3", "[a]", "[0]", "[-1]", "[1.5]", "null", "[[8]]", "{a: 8}", "[8,true]", "[99999999999]")
NOT_A_GROUP = ("3", "[1,2]", "1.5", "true")
NOT_A_NAME = ("../up", "a/b", "''", "-x", ".hidden", "[1]", "null", "'a b'", "'x\\\\y'", "'..'", "/etc", "'a\u202eb'")
# Deleting one of these leaves something undecided: none has a default.
NEEDED = (
    *(
        "data.name",
        "data.reader",
        "data.channels",
        "data.image_size",
        "model._target_",
        "model.optimizer",
        "data",
        "model",
    ),
    *("optimizer.name", "encoder._target_", "encoder", "paths", "transfer"),
    *("transfer.name", "transfer.weights", "transfer.encoder", "head", "paths.data_dir", "data.reader._target_"),
)
REFERENCES = (
    *("${nope}", "${data.nope}", "${oc.env:NO_SUCH_VARIABLE_HERE}", "${twice:2}", "${trainer.max_epoch}", "${..up}"),
    *("${oc.decode:[}", "${seed", "${}", "${oc.select}", "${data}", "${encoder.widths}"),
)
UNBALANCED = ("[1,2", "{a:1", "'abc", '"abc', "1]", "1}", "(1", "1)", "[1,2}", "{a:[1}", "a,(", "range(", "f(x", "\\")
# None of them belongs to the group of a config: what a config may call is told by where it comes from.
ELSEWHERE = (
    *("os.system", "subprocess.run", "builtins.eval", "builtins.exec", "shutil.rmtree", "pathlib.Path", "torch.load"),
    *(
        "aetransfer.files.replace_file",
        "aetransfer.report.files.write_report",
        "aetransfer.train.main",
        "sys.exit",
    ),
    *("pytorch_lightning.Trainer", "hydra.utils.instantiate", "numpy.load", "pickle.loads", "aetransfer", ""),
)
TARGETS = ("encoder._target_", "data.reader._target_", "pretrain.data.reader._target_", "+logger.mine._target_")
CONTRADICTIONS = (
    ("data=cifar10", "data@pretrain.data=mnist", "pretrain.data.pad={odd}", "transfer=frozen"),
    ("data=mnist", "data@pretrain.data=cifar10", "transfer=finetune"),
    ("data=digits", "data@pretrain.data=digits", "data.pad={odd}", "transfer=finetune"),
    ("data=digits", "transfer=scratch", "encoder.widths=[8,8,8,8,8,{many}]"),
    ("data=digits", "transfer=scratch", "data.labels_per_class={many}", "data.train_fraction=0.5"),
    ("transfer=frozen", "transfer.encoder=trained"),
    ("transfer=scratch", "transfer.weights=pretrained"),
    ("transfer=finetune", "transfer.linear_head=true"),
    ("transfer=linear_probe", "head.hidden=[{many}]"),
    ("transfer=moments", "~pretrain"),
    ("model=ae", "data=digits", "head.hidden=[{many}]"),
    ("model=vae", "data=digits", "transfer=frozen"),
    ("model=ae", "data=digits", "pretrain.trainer.max_epochs={many}"),
    ("model=ae", "data=digits", "model.kl_weight={many}"),
    ("data=cifar10", "data.root=images{many}"),
)
