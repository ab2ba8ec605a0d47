"""Files of SQuAD for its benchmarks."""
import json


def first_questions(file, count, output):
    """Writes a file with the first so many questions of another one."""
    articles, left = [], count
    for article in json.loads(file.read_text())["data"]:
        paragraphs = []
        for paragraph in article["paragraphs"]:
            taken = paragraph["qas"][:left]
            left -= len(taken)
            if taken:
                paragraphs.append({"context": paragraph["context"], "qas": taken})
        if paragraphs:
            articles.append({"title": article.get("title", ""), "paragraphs": paragraphs})
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps({"version": "1.1", "data": articles}))
    return output
