"""Tables in the project's pages: each stands between <!-- NAME --> and <!-- /NAME -->."""
import re


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def write_tables(page, tables):
    """tables: name -> a function that makes the text; only those that have their place in the page are made."""
    text = page.read_text()
    for name, make in tables.items():
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.S)
        if pattern.search(text):
            made = make()
            text = pattern.sub(lambda found: found[1] + made + "\n" + found[2], text)
    page.write_text(text)
