# libfileshare (shared, for everybody) and fileshare-client on top of it.
if(EXISTS ${PROJECT_SOURCE_DIR}/src/client/cli/main.c)
    file(GLOB cli_sources CONFIGURE_DEPENDS src/client/cli/*.c)
    add_executable(fileshare-client ${cli_sources})
    target_link_libraries(fileshare-client PRIVATE fileshare_warnings fs_client fs_base
        PkgConfig::JANSSON PkgConfig::POPT)
    install(TARGETS fileshare-client DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
