"""``python -m gluon_tricks train``: an image classifier with the paper's bag of tricks, as train_imagenet.py."""
from gluon_tricks.commands.console import console
from gluon_tricks.config import classification as configuration
from gluon_tricks.config import recipes
from gluon_tricks.errors import exit_code
from gluon_tricks.noise import quiet

DESCRIPTION = 'Train an image classifier with the paper\'s bag of tricks.'


def main(argv=None):
    """Run the command line; returns the exit code: 0, 2 for wrong usage, 3 for a diverged run, 129, 130 and 143 for a
    stop signal."""
    return exit_code(run, argv)


def run(argv):
    """Run the command line. Raises an exception in place of each exit code but 0."""
    arguments = configuration.parser(description=DESCRIPTION).parse_args(argv)
    base = recipes.get(arguments.recipe).config if arguments.recipe else None
    config = configuration.from_namespace(arguments, base)
    with quiet():
        from gluon_tricks.tasks.classification.assembly import assemble, resolve
        asked = config
        config, notices = resolve(config)
        if arguments.print_config:
            print(config.to_json())
            return
        from gluon_tricks.doctor.examine import warnings
        from gluon_tricks.training.run import train
        with console():
            train(config, assemble, [*notices, *warnings(asked, config)])
