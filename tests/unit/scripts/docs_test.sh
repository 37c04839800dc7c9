#!/usr/bin/env bash
# The committed pages of docs/commands are what the program writes from its option tables.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$RETORT" docs --out "$folder/commands"
diff -r "$RETORT_SOURCE/docs/commands" "$folder/commands" || {
  echo "the pages differ: run \`retort docs --out docs/commands\` and commit them"
  exit 1
}
# Every command that --help lists has its page, and no other.
listed=$("$RETORT" --help | sed -n '/^Commands:/,/^$/p' | sed -n 's/^  \([a-z]*\) .*/\1/p' | sort)
pages=$(cd "$folder/commands" && ls -1 -- *.md | sed 's/\.md$//' | sort)
[ -n "$listed" ] && [ "$listed" = "$pages" ] || {
  echo "commands and pages differ: $listed / $pages"
  exit 1
}
# docs/cli.md names the options of every command.
for option in $("$RETORT" doctor --help | sed -n '/^Start and display:/,$s/^  \(-., \)\?--\([a-z-]*\).*/\2/p'); do
  grep -q -- "--$option" "$RETORT_SOURCE/docs/cli.md" || {
    echo "docs/cli.md does not name --$option"
    exit 1
  }
done
# One version everywhere.
version=$(sed -n 's/^project(retort VERSION \([0-9.]*\) .*/\1/p' "$RETORT_SOURCE/CMakeLists.txt")
case "$("$RETORT" --version)" in
  "retort $version ("*) ;;
  *)
    echo "CMakeLists.txt says $version, the program $("$RETORT" --version)"
    exit 1
    ;;
esac
