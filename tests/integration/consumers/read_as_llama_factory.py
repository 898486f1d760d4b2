"""What LLaMA-Factory makes of a folder with a dataset_info.json, as JSON: {dataset: rows}.

    python read_as_llama_factory.py FOLDER

Its parser and its converter run as they are. Its package `data` is entered by the side, since its
front door wants torchaudio, gradio and more that a dataset never meets; in a process of its own, since
it patches other libraries.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path

import datasets


def main() -> None:
    folder = Path(sys.argv[1])
    root = importlib.util.find_spec("llamafactory")
    assert root is not None
    assert root.submodule_search_locations is not None
    package = types.ModuleType("llamafactory.data")
    package.__path__ = [f"{root.submodule_search_locations[0]}/data"]
    sys.modules[package.__name__] = package
    parser = importlib.import_module("llamafactory.data.parser")
    converter = importlib.import_module("llamafactory.data.converter")

    names = list(json.loads((folder / "dataset_info.json").read_text()))
    made = {}
    for attributes in parser.get_dataset_list(names, str(folder)):
        assert attributes.load_from == "file"
        file = folder / attributes.dataset_name  # as its loader reads a local file
        kind = "parquet" if file.suffix == ".parquet" else "json"
        cache = folder.parent / "llama_factory_cache"
        rows = datasets.load_dataset(
            kind, data_files=str(file), split=attributes.split, cache_dir=str(cache)
        )
        convert = converter.get_dataset_converter(attributes.formatting, attributes, None)
        made[file.name] = rows.map(convert, remove_columns=rows.column_names).to_list()
    print(json.dumps(made))


if __name__ == "__main__":
    main()
