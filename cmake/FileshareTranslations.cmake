# Texts in other languages: po/LANGUAGE.po becomes locale/LANGUAGE/LC_MESSAGES/fileshare.mo
# in the build folder, and is installed from there. tools/update-translations
# keeps po/ in step with the sources; tree/translations checks that it was used.
find_program(MSGFMT msgfmt REQUIRED)

set(catalogues)
file(GLOB translations CONFIGURE_DEPENDS po/*.po)
foreach(translation ${translations})
    get_filename_component(language ${translation} NAME_WE)
    set(folder ${PROJECT_BINARY_DIR}/locale/${language}/LC_MESSAGES)
    file(MAKE_DIRECTORY ${folder})
    add_custom_command(OUTPUT ${folder}/fileshare.mo
        COMMAND ${MSGFMT} --check --output-file=${folder}/fileshare.mo ${translation}
        DEPENDS ${translation} COMMENT "Texts in ${language}" VERBATIM)
    list(APPEND catalogues ${folder}/fileshare.mo)
    install(FILES ${folder}/fileshare.mo DESTINATION ${CMAKE_INSTALL_LOCALEDIR}/${language}/LC_MESSAGES)
endforeach()
add_custom_target(translations ALL DEPENDS ${catalogues})
