# libfileshare (shared, for everybody) and fileshare-client on top of it.

# The static fs_client whole, and of what it stands on what it needs; only
# fileshare_* can be seen from outside.
add_library(libfileshare SHARED include/fileshare/fileshare.h)
target_link_libraries(libfileshare PRIVATE fileshare_build "$<LINK_LIBRARY:WHOLE_ARCHIVE,fs_client>")
target_link_options(libfileshare PRIVATE
    -Wl,--version-script=${PROJECT_SOURCE_DIR}/cmake/libfileshare.map -Wl,-z,text)
set_target_properties(libfileshare PROPERTIES OUTPUT_NAME fileshare LINKER_LANGUAGE C
    VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR}
    LINK_DEPENDS ${PROJECT_SOURCE_DIR}/cmake/libfileshare.map)
# Where the library lies is told from where its .pc file lies: the whole may be installed anywhere.
file(RELATIVE_PATH FILESHARE_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
string(REGEX REPLACE "/$" "" FILESHARE_PC_PREFIX "${FILESHARE_PC_PREFIX}")
configure_file(cmake/fileshare.pc.in fileshare.pc @ONLY)
install(TARGETS libfileshare LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES include/fileshare/fileshare.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/fileshare)
install(FILES ${PROJECT_BINARY_DIR}/fileshare.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

# All of the command line's client but main, so that tests can have it too.
file(GLOB cli_sources CONFIGURE_DEPENDS src/client/cli/*.c)
list(FILTER cli_sources EXCLUDE REGEX "/main\\.c$")
add_library(fs_cli STATIC ${cli_sources})
target_link_libraries(fs_cli PRIVATE fileshare_warnings PUBLIC fs_client fs_base PkgConfig::JANSSON)
target_compile_definitions(fs_cli PUBLIC FILESHARE_LOCALEDIR="${CMAKE_INSTALL_FULL_LOCALEDIR}")

add_executable(fileshare-client src/client/cli/main.c)
target_link_libraries(fileshare-client PRIVATE fileshare_warnings fs_cli)
# Not with a sanitizer: linked so, libtirpc dies at its first call (in authnone_create).
if(FILESHARE_ARCHIVES AND NOT FILESHARE_SANITIZE)
    set_target_properties(fileshare-client PROPERTIES FILESHARE_ARCHIVES ON)
    fileshare_archive_is_shareable(FILESHARE_TIRPC_SHAREABLE)
    if(FILESHARE_TIRPC_SHAREABLE)
        set_target_properties(libfileshare PROPERTIES FILESHARE_ARCHIVES ON)
    endif()
endif()
install(TARGETS fileshare-client DESTINATION ${CMAKE_INSTALL_BINDIR})
include(FileshareTranslations)
add_dependencies(fileshare-client translations)
