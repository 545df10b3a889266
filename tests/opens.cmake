# Fails if a file is opened in another way than the few that neither wait nor open what is no file:
# open_to_read() (store/files.h) reads, drafts write, locks lock. A pipe put in a file's place would
# hang whoever opens it.
# Usage: cmake -D ROOT=. -P opens.cmake
cmake_minimum_required(VERSION 3.25)
set(allowed
  store/files.cpp         # open_to_read(), open_directory()
  store/draft.cpp         # new files, O_EXCL; O_NOFOLLOW and O_NONBLOCK where one is there
  store/file_lock.cpp     # O_NOFOLLOW, O_NONBLOCK
  migrate/takeover/made_lock.cpp   # O_EXCL
  migrate/takeover/tool_lock.cpp   # O_NOFOLLOW, O_NONBLOCK
  migrate/takeover/running.cpp     # /proc
  tools/secret_input.cpp  # /dev/tty
  tools/browser.cpp)      # /dev/null, in a child
file(GLOB_RECURSE sources RELATIVE ${ROOT}
  ${ROOT}/store/*.cpp ${ROOT}/store/*.h ${ROOT}/oauth/*.cpp ${ROOT}/oauth/*.h
  ${ROOT}/migrate/*.cpp ${ROOT}/migrate/*.h ${ROOT}/tools/*.cpp ${ROOT}/tools/*.h)
set(count 0)
set(found "")
foreach(source IN LISTS sources)
  if(source MATCHES "^tools/(portal|prove)/")  # they open what they made themselves
    continue()
  endif()
  math(EXPR count "${count} + 1")
  if(source IN_LIST allowed)
    continue()
  endif()
  file(STRINGS ${ROOT}/${source} lines REGEX "::open(at)?\\(|fopen\\(|[io]?fstream[ (]")
  foreach(line IN LISTS lines)
    # The kernel's own; and functions of classes of ours.
    if(NOT line MATCHES "\"/proc/" AND NOT line MATCHES "[A-Za-z]::open\\(")
      list(APPEND found "${source}: ${line}\n")
    endif()
  endforeach()
endforeach()
if(count EQUAL 0)
  message(FATAL_ERROR "no sources under ${ROOT}")
endif()
if(found)
  message(FATAL_ERROR "opened without open_to_read():\n${found}")
endif()
