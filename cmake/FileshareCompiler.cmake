# The language, the warnings, the sanitizers: one target each.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(fileshare_build INTERFACE)
target_include_directories(fileshare_build INTERFACE ${PROJECT_SOURCE_DIR}/src ${PROJECT_SOURCE_DIR}/include)
target_compile_definitions(fileshare_build INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64
    FILESHARE_VERSION="${PROJECT_VERSION}")

add_library(fileshare_warnings INTERFACE)
target_compile_options(fileshare_warnings INTERFACE
    -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wformat=2
    -Wundef -Wpointer-arith -Wcast-qual -Wwrite-strings)
if(FILESHARE_WERROR)
    target_compile_options(fileshare_warnings INTERFACE -Werror)
endif()

if(FILESHARE_SANITIZE)
    add_compile_options(-fsanitize=${FILESHARE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    add_link_options(-fsanitize=${FILESHARE_SANITIZE})
    add_compile_definitions(FILESHARE_SANITIZED=1)
else()
    add_compile_options($<$<CONFIG:Release>:-fstack-protector-strong>)
    add_compile_definitions($<$<CONFIG:Release>:_FORTIFY_SOURCE=2>)
    add_link_options(-Wl,-z,relro,-z,now)
endif()
