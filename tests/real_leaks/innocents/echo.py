"""A child process that is waited for."""

import subprocess
import sys


def work():
    subprocess.run([sys.executable, "-S", "-c", "pass"], check=True)
