#!/bin/bash
# The report in a browser: it opens without a word on the console, everything is there with and
# without scripts, and what is painted is not blank.
. "$(dirname "$0")/tiny_plan.sh"
command -v chromium >/dev/null || {
  echo "there is no chromium (Debian's package of that name)"
  exit 77
}
browse() {
  timeout 60 chromium --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage \
    --user-data-dir="$PWD/profile" --enable-logging=stderr "$@" 2>console
}

# The browser says what a page puts on its console: else silence would prove nothing.
echo '<script>console.error("heard"); missing()</script>' >loud.html
browse --dump-dom "file://$PWD/loud.html" >/dev/null || fail "chromium does not start: $(tail -3 console)"
[ "$(grep -c 'CONSOLE' console)" -eq 2 ] || fail "the browser's console is not heard: $(cat console)"

run 0 run tiny.ini --set student.validation=test --set student.evaluate-every=1
run 0 report runs/tiny --out report.html
page=file://$PWD/report.html
browse --dump-dom "$page" >dom.html || fail "the page does not open"
! grep 'CONSOLE' console || fail "the page speaks on the console"
sed '/<script>/,/<\/script>/d' report.html >without.html
browse --dump-dom "file://$PWD/without.html" >bare.html || fail "the page does not open without its script"
for dom in dom.html bare.html; do
  for text in '<h1>tiny</h1>' 'Teacher, hard labels, distilled' 'Worst classes' 'Seconds by section and phase' \
    'aria-label="Training loss"' 'aria-label="Validation cross entropy"' 'Environment' "$(digest runs/tiny/student)"; do
    grep -qF -- "$text" $dom || fail "no '$text' in the page ($dom)"
  done
  [ "$(grep -o '<svg ' $dom | wc -l)" -ge 6 ] || fail "charts are missing ($dom)"
done
# The script has run, and adds nothing that one would miss.
grep -q '<body class="js">' dom.html || fail "the page's script did not run"
[ "$(grep -c '<script' bare.html)" -eq 0 ] || fail "there is a second script"
diff <(sed 's/<body class="js">/<body>/; /<script>/,/<\/script>/d' dom.html | sed '/^<\/body>/d') \
  <(sed '/^<\/body>/d' bare.html) || fail "the script adds content"


# A click on a heading sorts the table.
sed 's#</body>#<script>document.querySelector("\#sections th").click();document.querySelector("\#sections th").click()</script></body>#' \
  report.html >clicked.html
browse --dump-dom "file://$PWD/clicked.html" >clicked || fail "the clicked page does not open"
! grep 'CONSOLE' console || fail "sorting speaks on the console"
python3 - clicked <<'PYTHON' || fail "a click does not sort"
import re, sys
page = open(sys.argv[1]).read()
table = page[page.index('<section id="sections">'):]
names = re.findall(r"<tr><td>([^<]*)</td>", table[:table.index("</table>")])
assert len(names) == 5 and names == sorted(names, reverse=True), names
PYTHON

# The page is never wider than the window; what is too wide scrolls in a box of its own. Browsers have no
# windows as narrow as phones, but frames.
sed 's#</body>#<script>parent.postMessage([innerWidth, document.documentElement.scrollWidth,\
  [...document.querySelectorAll(".wide")].filter(box => box.scrollWidth > box.clientWidth).length]+"", "*")</script></body>#' \
  report.html >framed.html
for width in 390 800 1280; do
  cat >frame.html <<HTML
<script>addEventListener("message", said => { document.title = said.data })</script>
<iframe src="framed.html" style="border:0;width:${width}px;height:9000px"></iframe>
HTML
  browse --virtual-time-budget=5000 --dump-dom "file://$PWD/frame.html" >frame || fail "the frame does not open"
  measured=$(sed -n 's:.*<title>\(.*\)</title>.*:\1:p' frame)
  case "$width $measured" in
    "390 390,390,"[1-9]*) ;;  # some table is too wide for a phone, or nothing would be proved
    "800 800,800,"* | "1280 1280,1280,0") ;;
    *) fail "at $width pixels: '$measured' (width, width of the page, boxes that scroll)" ;;
  esac
done

for window in 1000,700 380,700; do
  rm -f shot.png
  browse --hide-scrollbars --window-size=$window --screenshot=shot.png "$page" || fail "no screenshot"
  python3 - shot.png "$window" <<'PYTHON' || fail "the screenshot of $window"
import struct, sys, zlib
data = open(sys.argv[1], "rb").read()
at, packed = 8, b""
while at < len(data):
    size, kind = struct.unpack(">I4s", data[at:at + 8])
    if kind == b"IHDR": width, height, depth, colour = struct.unpack(">IIBB", data[at + 8:at + 18])
    if kind == b"IDAT": packed += data[at + 8:at + 8 + size]
    at += size + 12
assert depth == 8 and colour in (2, 6), (depth, colour)
assert f"{width},{height}" == sys.argv[2], (width, height)
bytes_a_pixel = 3 if colour == 2 else 4
raw, stride = zlib.decompress(packed), bytes_a_pixel * width
before, dark, colours = bytearray(stride), 0, set()
for y in range(height):
    kind, line = raw[y * (stride + 1)], bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
    for i in range(stride if kind else 0):
        a = line[i - bytes_a_pixel] if i >= bytes_a_pixel else 0
        b, c = before[i], before[i - bytes_a_pixel] if i >= bytes_a_pixel else 0
        if kind == 4:
            p, q, r = abs(b - c), abs(a - c), abs(a + b - 2 * c)
            guess = a if p <= q and p <= r else b if q <= r else c
        else:
            guess = (0, a, b, (a + b) // 2)[kind]
        line[i] = (line[i] + guess) & 255
    for x in range(0, stride, bytes_a_pixel):
        pixel = bytes(line[x:x + 3])
        colours.add(pixel)
        dark += sum(pixel) < 300
    before = line
share = dark / (width * height)
assert 0.005 < share < 0.3, f"{share:.4f} of the picture is dark"
assert len(colours) > 50, f"{len(colours)} colours"
PYTHON
done
