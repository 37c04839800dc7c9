# cmake -DOUT=FILE.cpp -DROOT=FOLDER -P embed_python.cmake: a source file with the text of every .py
# below ROOT, for stages/python_parts.h.
file(GLOB_RECURSE parts RELATIVE ${ROOT} ${ROOT}/*.py)
list(SORT parts)
set(table "")
foreach(part ${parts})
  file(READ ${ROOT}/${part} text)
  string(APPEND table "    {\"${part}\", R\"python(${text})python\"},\n")
endforeach()
file(WRITE ${OUT} "// Made from stages/export by cmake/embed_python.cmake.
#include \"stages/python_parts.h\"

namespace retort::stages {
namespace {

constexpr PythonPart kParts[] = {
${table}};

}  // namespace

std::span<const PythonPart> python_parts() { return kParts; }

}  // namespace retort::stages
")
