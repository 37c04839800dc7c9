# Sourced in a test's work folder: texts/train.jsonl, 75 texts of up to 9 words under 5 topics. The words
# of a topic are more frequent than those of all; every tenth text has none.
"$RETORT" pack --help | grep -q jsonl || {
  echo "this program packs no texts"
  exit 77
}
mkdir texts
awk 'BEGIN {
  r = 4711
  for (n = 0; n < 75; ++n) {
    topic = n % 5; text = ""
    for (k = n % 10; k > 0; --k) {
      r = (r * 1103 + 12345) % 65536
      word = r % 3 ? "t" topic "w" int(r / 3) % 7 : "common" int(r / 3) % 9
      text = text (text == "" ? "" : " ") word
    }
    printf "{\"text\": \"%s\", \"label\": \"topic-%d\"}\n", text, topic
  }
}' >texts/train.jsonl
