// What a command costs as a whole process, next to another command in the same run.
//
//   process_cost RUNS COMMAND [ARG…] --vs COMMAND [ARG…]
//
// Runs the two in turn and prints, for each, the median time from fork to exit and the largest peak
// memory, then the median of the pairwise ratios: a machine that slows down slows both.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <vector>

namespace {

using Arguments = std::vector<char*>;  // ends in a null pointer, as execv wants it

struct Cost {
  double milliseconds = 0;
  long peak_kib = 0;
};

[[noreturn]] void become(const Arguments& command) {
  const int null = ::open("/dev/null", O_RDWR);
  ::dup2(null, 0);
  ::dup2(null, 1);
  ::execvp(command[0], command.data());
  std::perror(command[0]);
  ::_exit(127);
}

Cost run(const Arguments& command) {
  const auto start = std::chrono::steady_clock::now();
  const pid_t child = ::fork();
  if (child == 0) become(command);
  int status = 0;
  rusage usage{};
  ::wait4(child, &status, 0, &usage);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    std::fprintf(stderr, "process_cost: %s failed\n", command[0]);
    std::exit(1);
  }
  return {took.count(), usage.ru_maxrss};
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void print(const char* name, const std::vector<Cost>& costs) {
  std::vector<double> times;
  long peak = 0;
  for (const Cost& cost : costs) {
    times.push_back(cost.milliseconds);
    peak = std::max(peak, cost.peak_kib);
  }
  std::printf("  %-40s median %7.3f ms   peak %6ld KiB\n", name, median(times), peak);
}

void compare(int runs, const Arguments& a, const Arguments& b) {
  std::vector<Cost> costs_a;
  std::vector<Cost> costs_b;
  std::vector<double> ratios;
  run(a);  // warm
  run(b);
  for (int i = 0; i < runs; ++i) {
    costs_a.push_back(run(a));
    costs_b.push_back(run(b));
    ratios.push_back(costs_a.back().milliseconds / costs_b.back().milliseconds);
  }
  print(a[0], costs_a);
  print(b[0], costs_b);
  std::printf("  ratio, median of %d pairs: %.2f\n", runs, median(ratios));
}

}  // namespace

int main(int argc, char** argv) {
  Arguments commands[2];
  int which = 0;
  for (int i = 2; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--vs") {
      which = 1;
    } else {
      commands[which].push_back(argv[i]);
    }
  }
  const int runs = argc > 1 ? std::atoi(argv[1]) : 0;
  if (runs < 1 || commands[0].empty() || commands[1].empty()) {
    std::fprintf(stderr, "usage: process_cost RUNS COMMAND [ARG...] --vs COMMAND [ARG...]\n");
    return 2;
  }
  for (auto& command : commands) command.push_back(nullptr);
  compare(runs, commands[0], commands[1]);
}
