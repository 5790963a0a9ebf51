"""Train from a checkout: `python train.py --config room.txt` is `nerf-ssim train --config room.txt`."""

import sys

from nerf_ssim.cli.main import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
