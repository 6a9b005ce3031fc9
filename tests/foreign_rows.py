"""A row of each format of others, with everything that its reader looks at."""

ANN, ACME = {"text": "Ann", "span": [0, 3]}, {"text": "Acme", "span": [9, 13]}
FULL = [
    (
        "gliner",
        {
            "id": 1,
            "tokenized_text": ["Ann", "x"],
            "ner": [[0, 0, "p"]],
            "relations": [[0, 0, "r"]],
            "ner_labels": ["q"],
        },
    ),
    (
        "gliner2",
        {
            "input": "Ann x",
            "output": {
                "entities": {"p": ["Ann"]},
                "entity_descriptions": {"p": "d"},
                "json_structures": [{"s": {}}],
                "relations": [{"r": {"head": "Ann", "tail": "x", "q": "x"}}],
                "classifications": [{"task": "t", "labels": ["a", "b"], "true_label": ["a"]}],
            },
        },
    ),
    (
        "dygie",
        {
            "doc_key": "d",
            "sentences": [["Ann", "x"]],
            "ner": [[[0, 0, "p"]]],
            "clusters": [[[0, 0]]],
            "relations": [[[0, 0, 1, 1, "r"]]],
            "events": [[[[1, "e"], [0, 0, "r"]]]],
            "predicted_ner": [[]],
        },
    ),
    (
        "spert",
        {
            "tokens": ["Ann", "x"],
            "entities": [{"type": "p", "start": 0, "end": 1}],
            "relations": [{"type": "r", "head": 0, "tail": 0}],
            "orig_id": 1,
        },
    ),
    (
        "squad",
        {
            "data": [
                {
                    "paragraphs": [
                        {
                            "context": "Ann x",
                            "qas": [
                                {
                                    "id": "q",
                                    "question": "Q?",
                                    "answers": [{"text": "Ann", "answer_start": 0}],
                                    "is_impossible": False,
                                    "plausible_answers": [],
                                }
                            ],
                        }
                    ]
                }
            ]
        },
    ),
    ("squad", {"context": "Ann x", "question": "Q?", "answers": {"text": ["Ann"], "answer_start": [0]}}),
    ("uie", {"content": "Ann x", "prompt": "t[a,b]", "result_list": [{"text": "a", "start": -4, "end": -3}]}),
    ("uie", {"content": "Ann x", "prompt": "p", "result_list": [{"text": "Ann", "start": 0, "end": 3}]}),
    (
        "uie",
        {
            "tokens": ["Ann", "x"],
            "text": "Ann x",
            "entity": [{"type": "p", "offset": [0]}],
            "relation": [{"type": "r", "args": [{"type": "p", "offset": [0]}, {"type": "p", "offset": [1]}]}],
            "event": [{"type": "e", "offset": [1], "args": [{"type": "p", "offset": [0]}]}],
        },
    ),
    (
        "mirror",
        {
            "id": "m",
            "instruction": "Q?",
            "text": "Ann runs Acme",
            "bg": "",
            "schema": {"ent": ["p"], "rel": ["r"], "hyper_rel": ["h"], "event": {"e": ["x"]}, "cls": ["c"]},
            "ans": {
                "ent": [{"type": "p", **ANN}],
                "rel": [{"relation": "r", "head": ANN, "tail": ACME}],
                "hyper_rel": [
                    {"relation": "h", "head": ANN, "tail": ACME, "qualifiers": [{"label": "q", **ACME}]}
                ],
                "event": [{"event_type": "e", "trigger": ANN, "args": [{"role": "x", **ACME}]}],
                "cls": ["c"],
                "span": [ANN],
                "discontinuous_ent": [{"type": "p", "text": "Ann Acme", "span": [[0, 3], [9, 13]]}],
            },
        },
    ),
    (
        "label-studio",
        {
            "id": 1,
            "data": {"text": "Ann x"},
            "annotations": [
                {
                    "was_cancelled": False,
                    "result": [
                        {
                            "id": "a",
                            "from_name": "label",
                            "type": "labels",
                            "value": {"start": 0, "end": 3, "labels": ["p"]},
                        },
                        {
                            "id": "b",
                            "from_name": "trigger",
                            "type": "labels",
                            "value": {"start": 4, "end": 5, "labels": ["e"]},
                        },
                        {
                            "from_id": "b",
                            "to_id": "a",
                            "type": "relation",
                            "direction": "right",
                            "labels": ["r"],
                        },
                        {"id": "c", "from_name": "t", "type": "choices", "value": {"choices": ["x"]}},
                    ],
                }
            ],
        },
    ),
    (
        "label-studio",
        {
            "id": 1,
            "text": "Ann x",
            "annotator": 1,
            "tone": {"choices": ["x"]},
            "label": [{"start": 0, "end": 3, "text": "Ann", "labels": ["p"]}],
        },
    ),
    (
        "doccano",
        {
            "id": 1,
            "text": "Ann x",
            "entities": [{"id": 4, "label": "p", "start_offset": 0, "end_offset": 3}],
            "relations": [{"from_id": 4, "to_id": 4, "type": "r"}],
            "cats": ["c"],
            "Comments": ["x"],
        },
    ),
]
