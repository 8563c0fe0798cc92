"""How `mini` is made: texts -> lists with a teacher's scores -> a small vocabulary -> a small cross-encoder.

    prepare.py   records -> lists.jsonl, passages.jsonl: hard negatives and the teacher's scores
    trim.py      base checkpoint -> the same with only the pieces that the texts need
    train.py     lists + base checkpoint -> a run: a cross-encoder of fewer layers, its log and its picture
    export.py    run -> the folder that ships

Each is a command (`python -m training.prepare --help`); README.md has the exact ones.
"""
