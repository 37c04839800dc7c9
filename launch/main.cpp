#include "launch/process_setup.h"
#include "launch/program.h"

int main(int count, char** words) {
  retort::launch::set_process_up();
  return retort::launch::run_program({words + (count > 0 ? 1 : 0), words + count});
}
