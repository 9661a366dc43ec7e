"""Bring the images into data/dataset/, each decoded once; list what cannot be used in reports/download/."""

from lightline.download import download
from lightline.params import Params
from lightline.sources import open_source
from lightline.stage import run_stage


def main(params: Params) -> None:
    done = download(open_source(params.data), params.data)
    for warning in done.warnings():
        print(f"warning: {warning}")
    counts = done.summary()
    print(f"{counts['images']} images in {counts['classes']} classes, {counts['rejected']} rejected")
    if deep := counts["16_bit_images"]:
        print(f"{deep} of them with 16 bits a channel, read as {counts['bit_depth']} bits in use (data.bit_depth)")


if __name__ == "__main__":
    run_stage(main)
