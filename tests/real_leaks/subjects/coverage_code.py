"""Code made at run time, while coverage is traced."""

import coverage

coverage.Coverage(data_file=None, config_file=False, include=["/nowhere/*"]).start()


def work():
    exec(compile("def double(x):\n    return 2 * x\n\ndouble(4)\n", "<made>", "exec"), {})
